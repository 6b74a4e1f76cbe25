import { createHash } from 'node:crypto';
import { type Html, html, ours } from './html-text';

/**
 * One page that needs nothing else: no script, no request, no font. The policy allows its own style sheet by its digest and
 * nothing more, so that even text that got in unescaped could load and run nothing. Not for workflows: they have no
 * `node:crypto`.
 */
export function pageOf(title: string, style: string, content: Html): string {
  const digest = createHash('sha256').update(style).digest('base64');
  const policy = `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`;
  const page = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="referrer" content="no-referrer" />
        <meta name="color-scheme" content="light dark" />
        <title>${title}</title>
        ${ours(`<style>${style}</style>`)}
      </head>
      <body>
        <main>${content}</main>
      </body>
    </html> `;
  return page.text;
}

export const section = (heading: string, content: Html): Html =>
  html`<section>
    <h2>${heading}</h2>
    ${content}
  </section>`;

export const list = (heading: string, items: readonly (Html | string)[], name = ''): Html | null =>
  items.length === 0
    ? null
    : html`<section class="${name}">
        <h2>${heading}</h2>
        <ul>
          ${items.map((item) => html`<li>${item}</li>`)}
        </ul>
      </section>`;

export const fact = (name: string, value: string | null): Html | null =>
  value === null
    ? null
    : html`<div>
        <dt>${name}</dt>
        <dd>${value}</dd>
      </div>`;

export type Cell = Html | string | null;

export function table(header: readonly string[], rows: readonly (readonly Cell[])[]): Html {
  // The heading of each column goes with its cells, so that a narrow screen can show rows as blocks.
  const cells = (row: readonly Cell[]) =>
    row.map((cell, index) => html`<td data-label="${header[index] ?? ''}">${cell}</td>`);
  return html`<table>
    <thead>
      <tr>
        ${header.map((title) => html`<th scope="col">${title}</th>`)}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr>
            ${cells(row)}
          </tr> `,
      )}
    </tbody>
  </table>`;
}
