/**
 * Control characters (a terminal obeys them) and marks that turn the direction of writing (a reader is misled by them), in
 * text that comes from people and from servers.
 */
const DECEIVING = /[^\P{Cc}\t\n]|[\u202A-\u202E\u2066-\u2069]/gu;

/** The text with everything that could act on a screen made visible as a replacement character. */
export const plainText = (text: string): string => text.replaceAll(DECEIVING, '\uFFFD');

/** The same on one line. */
export const oneLine = (text: string): string => plainText(text).replaceAll(/\s*\n\s*/g, ' ');
