/** The one form in which names are compared: lower case, with the dot of the root, Route 53's `\052` read as `*`. */
export function absoluteName(name: string): string {
  const plain = name.replaceAll(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
  return `${plain.toLowerCase().replace(/\.$/, '')}.`;
}
