export { QueryBuilder } from './QueryBuilder';
export { refusalText } from './messages';
export { emptyBuilder } from './model';
export type { BuilderQuery } from './model';
export { parseKql } from './parse';
export type { Parsed, Refusal } from './parse';
export { toKql } from './write';
