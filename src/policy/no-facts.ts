import { type RequestFacts, UnknownFact } from './facts.js';

const unknown = (fact: string): never => {
  throw new UnknownFact(fact);
};

/** For a question beside which nothing was written down: whoever reads any fact is told that it is not known. */
export const noFacts: RequestFacts = {
  header: (name) => unknown(`header ${name}`),
  query: (name) => unknown(`query parameter ${name}`),
  get credential() {
    return unknown('credential');
  },
  get connection() {
    return unknown('connection');
  },
};
