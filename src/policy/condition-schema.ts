import { Environment } from '@marcbachmann/cel-js';
import {
  ConnectionView,
  CredentialView,
  DelegationView,
  PrincipalView,
  RequestView,
} from './condition-views.js';

const TIMESTAMP = 'google.protobuf.Timestamp';
const DURATION = 'google.protobuf.Duration';
const BY_NAME = 'map<string, string>';
const LIST = 'list<string>';

/** Everything that a condition may read, by CEL's names: object, field, type. */
const objects = {
  request: {
    method: 'string',
    host: 'string',
    path: 'string',
    segments: LIST,
    route: 'string',
    destination: 'string',
    headers: BY_NAME,
    query: BY_NAME,
  },
  principal: {
    id: 'string',
    trustDomain: 'string',
    segments: LIST,
    owner: 'string',
    environment: 'string',
    registered: 'bool',
  },
  credential: {
    kind: 'string',
    issuer: 'string',
    age: DURATION,
    remaining: DURATION,
    lifetime: DURATION,
    notBefore: TIMESTAMP,
    notAfter: TIMESTAMP,
    claims: BY_NAME,
  },
  delegation: {
    subject: 'string',
    trustDomain: 'string',
    segments: LIST,
    depth: 'int',
    by: 'string',
    actors: LIST,
  },
  connection: { listener: 'string', tlsVersion: 'string', resumed: 'bool' },
} as const;

export type FactObject = keyof typeof objects;
export const factObjects = Object.keys(objects) as readonly FactObject[];

/** One thing that a condition reads: a field, or one header, query parameter or claim (`key`) of it. */
export interface FactRead {
  /** As CEL writes it: `credential.remaining`, `request.headers["x-region"]`, `now`. */
  readonly name: string;
  readonly object: FactObject | 'now';
  readonly field: string;
  readonly key?: string;
}

export const isFactObject = (name: string): name is FactObject => Object.hasOwn(objects, name);
export const fieldsOf = (object: FactObject): readonly string[] => Object.keys(objects[object]);
/** Own fields only: what every object inherits (`constructor`) is no fact. */
export const hasField = (object: FactObject, field: string): boolean => Object.hasOwn(objects[object], field);

const namedFields = { headers: 'request', query: 'request', claims: 'credential' } as const;
/** Fields whose values are read one by one, each by a name that is written out. */
export type NamedField = keyof typeof namedFields;
export const isReadByName = (object: string, field: string): field is NamedField =>
  Object.hasOwn(namedFields, field) && namedFields[field as NamedField] === object;
export const namedFieldObject = (field: NamedField): FactObject => namedFields[field];
/** As CEL writes it: `request.headers`. */
export const namedSource = (field: NamedField): string => `${namedFields[field]}.${field}`;
export const namedValue = (field: NamedField, key: string): string =>
  `${namedSource(field)}[${JSON.stringify(key)}]`;

const lists = ['request.segments', 'principal.segments', 'delegation.segments', 'delegation.actors'] as const;
/** Lists that loops may go over. */
export type FactList = (typeof lists)[number];
export const factListOf = (object: string, field: string): FactList | undefined =>
  lists.find((name) => name === `${object}.${field}`);
export const factListNames = lists.join(', ');

export const isTimeBoundRead = ({ name }: FactRead): boolean =>
  name === 'now' || name === 'credential.age' || name === 'credential.remaining';

/** What may stand for a part of an expression, evaluated elsewhere: see `condition-slots.ts`. */
export const slotTypes = {
  s: 'string',
  b: 'bool',
  d: DURATION,
  t: TIMESTAMP,
  l: LIST,
  i: 'list<int>',
} as const;
export type SlotLetter = keyof typeof slotTypes;
export const MAX_SLOTS = 32;
export const slotName = (letter: SlotLetter, index: number): string => `_${letter}${index}`;

/** Types of which expressions may be; `dyn`, the type that fits all, is none of them. */
export const TYPE_WORDS: ReadonlyMap<string, string> = new Map([
  ['bool', 'bool'],
  ['int', 'int'],
  ['string', 'string'],
  [LIST, LIST],
  ['list<int>', 'list<int>'],
  [BY_NAME, BY_NAME],
  [TIMESTAMP, 'timestamp'],
  [DURATION, 'duration'],
  ...factObjects.map((name) => [name, name] as const),
]);

export const MAX_NODES = 400;
/** Of brackets and calls inside each other: what the parser recurses on. */
export const MAX_NESTING = 24;

const views = {
  request: RequestView,
  principal: PrincipalView,
  credential: CredentialView,
  delegation: DelegationView,
  connection: ConnectionView,
};

/** Declared types, so that an unknown field or a wrong type is found on load. Nothing is registered after this. */
export const environment = ((): Environment => {
  const limits = {
    maxAstNodes: MAX_NODES,
    maxDepth: MAX_NESTING,
    maxCallArguments: 4,
    maxListElements: MAX_NODES,
  };
  const cel = new Environment({ limits });
  for (const name of factObjects) {
    cel.registerType(name, { ctor: views[name], fields: { ...objects[name] } });
    cel.registerVariable(name, name);
  }
  cel.registerVariable('now', TIMESTAMP);
  for (const [letter, type] of Object.entries(slotTypes)) {
    for (let i = 0; i < MAX_SLOTS; i++) cel.registerVariable(slotName(letter as SlotLetter, i), type);
  }
  return cel;
})();
