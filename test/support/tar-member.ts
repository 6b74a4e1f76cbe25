/** One tar member as PostgreSQL writes it. */
export function member(name: string, content: Buffer, flag = '0', link = ''): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0);
  header.write('0000600\0', 100);
  header.write(`${content.length.toString(8).padStart(11, '0')} `, 124);
  header.write('        ', 148);
  header.write(flag, 156);
  header.write(link, 157);
  header.write(
    `${header
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return Buffer.concat([header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]);
}
