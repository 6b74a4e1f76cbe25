import * as net from 'node:net';
import * as tls from 'node:tls';

export interface ReceivedMail {
  readonly from: string;
  readonly to: readonly string[];
  /** Headers and body as they came over the wire, dots unstuffed. */
  readonly text: string;
  readonly encrypted: boolean;
  readonly login: string | null;
}

export interface SmtpServerOptions {
  readonly tls?: { key: string; cert: string };
  /** Needed before MAIL when given. */
  readonly login?: { user: string; password: string };
  /** Recipients answered with 550. */
  readonly refuse?: readonly string[];
  /** The server goes silent when it gets this command. */
  readonly silentAt?: string;
}

export interface SmtpServer {
  readonly port: number;
  readonly mails: readonly ReceivedMail[];
  readonly openConnections: () => number;
  stop(): Promise<void>;
}

/** As much of a mail server (RFC 5321, STARTTLS, AUTH PLAIN) as a real SMTP conversation over a real socket needs. */
export async function startSmtpServer(options: SmtpServerOptions = {}): Promise<SmtpServer> {
  const mails: ReceivedMail[] = [];
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => socket.destroy());
    socket.write('220 mail.test ESMTP\r\n');
    converse(socket, options, false, (mail) => mails.push(mail));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  const stop = async () => {
    sockets.forEach((socket) => socket.destroy());
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { port, mails, openConnections: () => sockets.size, stop };
}

function converse(
  socket: net.Socket,
  options: SmtpServerOptions,
  encrypted: boolean,
  keep: (mail: ReceivedMail) => void,
) {
  let [pending, data, from, login] = ['', null as string[] | null, '', null as string | null];
  const to: string[] = [];
  const say = (...lines: string[]) => socket.write(lines.map((line) => `${line}\r\n`).join(''));

  function command(line: string): void {
    const [verb = '', ...rest] = line.toUpperCase().split(/[ :]/);
    if (verb === options.silentAt) return;
    if (verb === 'EHLO') {
      const startTls = options.tls && !encrypted ? ['250-STARTTLS'] : [];
      return void say('250-mail.test', ...startTls, ...(options.login ? ['250-AUTH PLAIN'] : []), '250 8BITMIME');
    }
    if (verb === 'STARTTLS') return upgrade();
    if (verb === 'AUTH') return authenticate(line.split(' ')[2] ?? '');
    if (verb === 'MAIL') {
      from = address(line);
      return void say(options.login && !login ? '530 authentication required' : '250 ok');
    }
    if (verb === 'RCPT') {
      const refused = options.refuse?.includes(address(line)) ?? false;
      if (!refused) to.push(address(line));
      return void say(refused ? '550 no such mailbox' : '250 ok');
    }
    if (verb === 'DATA') {
      data = [];
      return void say('354 go on');
    }
    if (verb === 'QUIT') return void socket.end('221 bye\r\n');
    say(`500 ${verb} ${rest.length} unknown`);
  }

  function authenticate(response: string): void {
    const [, user = '', password = ''] = Buffer.from(response, 'base64').toString('utf8').split('\0');
    const right = user === options.login?.user && password === options.login.password;
    if (right) login = user;
    say(right ? '235 ok' : `535 wrong password ${password}`);
  }

  function upgrade(): void {
    say('220 go on');
    socket.removeAllListeners('data');
    const secured = new tls.TLSSocket(socket, { isServer: true, ...options.tls });
    secured.on('error', () => secured.destroy());
    converse(secured, options, true, keep);
  }

  socket.on('data', (chunk: Buffer) => {
    pending += chunk.toString('utf8');
    for (let end = pending.indexOf('\r\n'); end >= 0; end = pending.indexOf('\r\n')) {
      const line = pending.slice(0, end);
      pending = pending.slice(end + 2);
      if (data === null) command(line);
      else if (line !== '.') data.push(line.replace(/^\.\./, '.'));
      else {
        keep({ from, to: [...to], text: data.join('\n'), encrypted, login });
        data = null;
        say('250 accepted');
      }
    }
  });
}

function address(line: string): string {
  return /<([^>]*)>/.exec(line)?.[1] ?? '';
}
