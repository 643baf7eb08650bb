import { t } from '@grafana/i18n';
import { Refusal } from './parse';

/** refusalText says to a user why KQL cannot be shown in the builder, and where. */
export function refusalText({ reason, found, line, column }: Refusal): string {
  const place = { found, line, column, interpolation: { escapeValue: false } };
  switch (reason) {
    case 'comment':
      return t(
        'builder.refusal.comment',
        'Line {{line}}, column {{column}}: the builder has no place for comments.',
        place
      );
    case 'statement':
      return t(
        'builder.refusal.statement',
        'Line {{line}}, column {{column}}: the builder has one query without statements before it.',
        place
      );
    case 'source':
      return t(
        'builder.refusal.source',
        'Line {{line}}, column {{column}}: the builder begins with the name of a table.',
        place
      );
    case 'operator':
      return t(
        'builder.refusal.operator',
        'Line {{line}}, column {{column}}: the builder has no operator “{{found}}”.',
        place
      );
    case 'order':
      return t(
        'builder.refusal.order',
        'Line {{line}}, column {{column}}: the builder cannot have “{{found}}” at this place.',
        place
      );
    case 'nesting':
      return t(
        'builder.refusal.nesting',
        'Line {{line}}, column {{column}}: the builder joins by “and” what is joined by “or”, and not the other way round.',
        place
      );
    case 'function':
      return t(
        'builder.refusal.function',
        'Line {{line}}, column {{column}}: the builder has no aggregate “{{found}}”.',
        place
      );
    case 'expression':
      return t(
        'builder.refusal.expression',
        'Line {{line}}, column {{column}}: the builder has columns and values here, and no expressions: “{{found}}”.',
        place
      );
    case 'syntax':
      return t('builder.refusal.syntax', 'Line {{line}}, column {{column}}: “{{found}}” was not expected here.', place);
  }
}

/** operatorText explains an operator of filters. */
export function operatorText(operator: string): string {
  switch (operator) {
    case '==':
      return t('builder.operator.equals', 'equals');
    case '!=':
      return t('builder.operator.not-equals', 'does not equal');
    case '=~':
      return t('builder.operator.equals-any-case', 'equals, in any case');
    case '!~':
      return t('builder.operator.not-equals-any-case', 'does not equal, in any case');
    case 'in':
      return t('builder.operator.in', 'is one of');
    case '!in':
      return t('builder.operator.not-in', 'is none of');
    case 'in~':
      return t('builder.operator.in-any-case', 'is one of, in any case');
    case '!in~':
      return t('builder.operator.not-in-any-case', 'is none of, in any case');
    case '$__contains':
      return t('builder.operator.variable', 'is one of a dashboard variable’s values; “All” passes all');
    case 'has':
      return t('builder.operator.has', 'has the word');
    case '!has':
      return t('builder.operator.not-has', 'does not have the word');
    case 'has_any':
      return t('builder.operator.has-any', 'has any of the words');
    case 'has_all':
      return t('builder.operator.has-all', 'has all of the words');
    case 'contains':
      return t('builder.operator.contains', 'contains the text');
    case '!contains':
      return t('builder.operator.not-contains', 'does not contain the text');
    case 'startswith':
      return t('builder.operator.starts', 'starts with');
    case '!startswith':
      return t('builder.operator.not-starts', 'does not start with');
    case 'endswith':
      return t('builder.operator.ends', 'ends with');
    case '!endswith':
      return t('builder.operator.not-ends', 'does not end with');
    case 'matches regex':
      return t('builder.operator.regex', 'matches the regular expression');
    case 'between':
      return t('builder.operator.between', 'is within');
    case '!between':
      return t('builder.operator.not-between', 'is not within');
    case '<':
      return t('builder.operator.less', 'is less than');
    case '<=':
      return t('builder.operator.at-most', 'is at most');
    case '>':
      return t('builder.operator.greater', 'is greater than');
    case '>=':
      return t('builder.operator.at-least', 'is at least');
    case 'isempty':
      return t('builder.operator.empty', 'is empty');
    case 'isnotempty':
      return t('builder.operator.not-empty', 'is not empty');
    case 'isnull':
      return t('builder.operator.null', 'has no value');
    case 'isnotnull':
      return t('builder.operator.not-null', 'has a value');
    default:
      return '';
  }
}

/** aggregateText explains a function of summarize. */
export function aggregateText(name: string): string {
  switch (name) {
    case 'count':
      return t('builder.aggregate.count', 'number of rows');
    case 'dcount':
      return t('builder.aggregate.dcount', 'number of different values');
    case 'countif':
      return t('builder.aggregate.countif', 'number of rows for which something holds');
    case 'sum':
      return t('builder.aggregate.sum', 'sum');
    case 'avg':
      return t('builder.aggregate.avg', 'mean');
    case 'min':
      return t('builder.aggregate.min', 'least value');
    case 'max':
      return t('builder.aggregate.max', 'greatest value');
    case 'percentile':
      return t('builder.aggregate.percentile', 'value that so many percent do not exceed');
    case 'stdev':
      return t('builder.aggregate.stdev', 'standard deviation');
    case 'make_set':
      return t('builder.aggregate.make-set', 'all different values, as an array');
    case 'take_any':
      return t('builder.aggregate.take-any', 'value of any row');
    case 'arg_max':
      return t('builder.aggregate.arg-max', 'the row with the greatest value');
    case 'arg_min':
      return t('builder.aggregate.arg-min', 'the row with the least value');
    default:
      return '';
  }
}
