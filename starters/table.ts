const NUMBER = /^(?:[\d.,]+(?: [A-Za-z]+)?|-|)$/;

/** Columns padded to the widest cell; numbers to the right. No borders: it must survive a narrow terminal and a mail. */
export function tableLines(header: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const all = [header.map((title) => title.toUpperCase()), ...rows];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? '').length)));
  const toTheRight = header.map(
    (_, column) =>
      rows.some((row) => /\d/.test(row[column] ?? '')) && rows.every((row) => NUMBER.test(row[column] ?? '')),
  );
  return all.map((row) =>
    row
      .map((cell, column) =>
        toTheRight[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
      )
      .join('  ')
      .trimEnd(),
  );
}

/** `2026-11-22T13:05:03Z`: also what `--to` accepts. */
export function shortTime(iso: string | null | undefined): string {
  return iso ? `${new Date(iso).toISOString().slice(0, 19)}Z` : '-';
}

/** `3m ago`, `in 2h`; rough on purpose. */
export function relativeTime(iso: string, now: Date): string {
  const seconds = Math.round((now.getTime() - Date.parse(iso)) / 1_000);
  const size = Math.abs(seconds);
  const text =
    size < 60
      ? `${size}s`
      : size < 3_600
        ? `${Math.round(size / 60)}m`
        : size < 48 * 3_600
          ? `${Math.round(size / 3_600)}h`
          : `${Math.round(size / 86_400)}d`;
  return seconds < 0 ? `in ${text}` : `${text} ago`;
}
