import type { AdminView } from './ports.js';

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (c) => escapes[c] ?? c);

/** A page for people: what is in force now. No script, nothing from elsewhere. */
export async function adminPage(view: AdminView): Promise<string> {
  const { ready, why } = await view.isReady();
  const snapshot = await view.snapshot();
  const state = ready ? 'ready' : `not ready: ${why}`;
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Countersign</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root{color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}
pre{overflow:auto;padding:1rem;border:1px solid #8884;border-radius:6px;font-size:13px}
.state{font-weight:600}
</style></head><body>
<h1>Countersign</h1>
<p>State: <span class="state">${escapeHtml(state)}</span></p>
<p><a href="/snapshot">snapshot</a> · <a href="/connections">connections</a> · <a href="/revocations">revocations</a> · <a href="/exceptions">exceptions</a> · <a href="/metrics">metrics</a> ·
<a href="/livez">livez</a> · <a href="/readyz">readyz</a></p>
<h2>In force</h2>
<pre>${escapeHtml(JSON.stringify(snapshot, null, 2))}</pre>
<p>To act: <code>curl -X POST http://ADDRESS/reload</code> or <code>/drain</code>.</p>
</body></html>
`;
}
