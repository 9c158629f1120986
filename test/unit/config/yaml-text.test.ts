import t from 'tap';
import { formatProblem } from '../../../src/config/problem.js';
import { readYaml } from '../../../src/config/yaml-text.js';

const problems = (text: string): string[] => readYaml(text, 'policy.yaml').problems.map(formatProblem);

t.test('a condition without quotes around it is refused with what to do', async (t) => {
  t.match(
    problems(`when: !("x-region" in request.headers)\n`).at(-1),
    /1:9 when: tags .*! stands in single quotes$/,
  );
  t.match(problems('when: !x\n'), [/1:7 tags .*! stands in single quotes$/]);
  t.match(problems(`when: "x-region" in request.headers\n`), [
    /1:18 Unexpected scalar .* single quotes as a whole$/,
  ]);
  t.same(problems(`when: '!("x-region" in request.headers)'\n`), []);
});
