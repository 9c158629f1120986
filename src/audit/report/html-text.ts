import { visible } from './report-wording.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text that stays text wherever it stands in a page, in an element or a quoted attribute; what cannot be seen is made visible. */
export const html = (text: string): string => visible(text).replace(/[&<>"']/g, (char) => ENTITIES[char]!);
