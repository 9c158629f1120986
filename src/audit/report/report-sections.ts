import type { Report } from './report-model.js';
import {
  destinations,
  exceptions,
  firstSeen,
  identities,
  paths,
  refusals,
  rules,
} from './report-sections-access.js';
import { delegations, injected, tokens } from './report-sections-borrowed.js';
import {
  authorities,
  credentials,
  evidence,
  revisions,
  revocations,
  secrets,
  timeline,
} from './report-sections-trust.js';
import type { ReportTable } from './report-table.js';

/** One question that the report answers. */
export interface ReportSection {
  readonly id: string;
  readonly title: string;
  readonly tables: readonly ReportTable[];
}

/** Every table of the report, in the order in which it is read: text and HTML show the same. */
export function reportSections(report: Report): ReportSection[] {
  return [
    { id: 'identities', title: 'Who called', tables: [identities(report)] },
    { id: 'paths', title: 'Paths and destinations', tables: [paths(report), destinations(report)] },
    { id: 'first-seen', title: 'First seen', tables: firstSeen(report) },
    { id: 'rules', title: 'Rules and grants', tables: rules(report) },
    { id: 'exceptions', title: 'Exceptions', tables: [exceptions(report)] },
    { id: 'refusals', title: 'Refusals', tables: refusals(report) },
    { id: 'credentials', title: 'Credentials', tables: credentials(report) },
    { id: 'secrets', title: 'Static secrets', tables: [secrets(report), injected(report)] },
    { id: 'delegations', title: 'Tokens and delegation', tables: [tokens(report), delegations(report)] },
    { id: 'revocations', title: 'Revocations', tables: revocations(report) },
    { id: 'authorities', title: 'Authorities', tables: [authorities(report)] },
    { id: 'revisions', title: 'Policy and trust in force', tables: revisions(report) },
    { id: 'evidence', title: 'Evidence', tables: evidence(report) },
    { id: 'timeline', title: 'What happened', tables: [timeline(report)] },
  ];
}
