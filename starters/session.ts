import { Client, Connection, type ConnectionOptions } from '@temporalio/client';
import { resolve } from 'node:path';
import type { OpenApplication } from '../activities/deps';
import { loadConfig, type LoadedConfig } from '../config/load';
import { failure } from '../core/errors';
import type { Io } from './io';

export type Output = 'text' | 'json';

export interface SessionOptions {
  readonly config?: string | undefined;
  readonly output?: Output | undefined;
}

/** A Temporal that does not answer by then is down for the person who waits. */
const CONNECT_MILLISECONDS = 5_000;

/** One run of a command: its config, its connection, its output; everything is opened when it is first used. */
export class Session {
  readonly io: Io;
  readonly output: Output;
  /** For a command whose screen is worth having without Temporal. */
  connectWithinMilliseconds = CONNECT_MILLISECONDS;
  private readonly configFile: string;
  private loaded: LoadedConfig | null = null;
  private connection: Connection | null = null;
  private opened: Promise<OpenApplication> | null = null;

  constructor(io: Io, { config, output }: SessionOptions) {
    this.io = io;
    this.output = output ?? 'text';
    this.configFile = resolve(config ?? io.env['DRCTL_CONFIG'] ?? 'drctl.yaml');
  }

  /** Throws ConfigInvalid. */
  get config(): LoadedConfig {
    return (this.loaded ??= loadConfig(this.configFile));
  }

  get application(): string {
    return this.config.application;
  }

  /** Names of stores that the config has; throws NotFound for others. Every store when none is named and `all` is set. */
  stores(named: readonly string[], all: boolean): string[] {
    const known = Object.keys(this.config.stores);
    this.requireKnown('store', named, known);
    if (all && named.length > 0) throw failure('UsageInvalid', 'name stores or say --all, not both');
    if (!all && named.length === 0) {
      throw failure('UsageInvalid', `name at least one store, or say --all; there are: ${known.join(', ')}`);
    }
    return all ? known : [...new Set(named)];
  }

  /** A site that the config has; throws NotFound for another. */
  site(named: string): string {
    this.requireKnown('site', [named], Object.keys(this.config.sites));
    return named;
  }

  /** Throws NotFound naming what there is, where the config has no such store, site, schedule. */
  requireKnown(what: string, named: readonly string[], known: readonly string[]): void {
    const unknown = named.find((name) => !known.includes(name));
    if (unknown === undefined) return;
    const there = `there are: ${known.join(', ')}`;
    throw failure('NotFound', `there is no ${what} "${unknown}" in ${this.config.file}; ${there}`);
  }

  /** Throws TemporalUnavailable. */
  async client(): Promise<Client> {
    const { address, namespace } = this.config.temporal;
    const connection = (this.connection ??= Connection.lazy(this.connectionOptions()));
    try {
      await connection.ensureConnected();
      return new Client({ connection, namespace });
    } catch (cause) {
      if (this.connection === connection) await this.close();
      throw failure('TemporalUnavailable', `Temporal at ${address} does not answer`, {
        data: 'Nothing was changed. Workflows that run are durable and go on by themselves once it is back.',
        cause,
      });
    }
  }

  /** The repositories and everything else of the application, as a worker opens it; works without Temporal. */
  open(): Promise<OpenApplication> {
    // Loaded here: it brings the drivers along, and most commands need none of them.
    const { openApplication } = require('../workers/wiring') as typeof import('../workers/wiring');
    return (this.opened ??= Promise.resolve(openApplication(this.config)));
  }

  /** The page of a workflow in the Web UI; null where the config does not say where that is. */
  link(workflowId: string): string | null {
    const { webUi, namespace } = this.config.temporal;
    return webUi === undefined
      ? null
      : `${webUi.replace(/\/$/, '')}/namespaces/${namespace}/workflows/${encodeURIComponent(workflowId)}`;
  }

  /** The result: for a script as one JSON document, for a person as lines. */
  print(value: unknown, lines: () => readonly string[]): void {
    if (this.output === 'json') this.io.out(JSON.stringify(value, null, 2));
    else for (const line of lines()) this.io.out(line);
  }

  /** Waits for nothing: whoever still waits for Temporal is told that it does not answer. */
  async close(): Promise<void> {
    const { connection } = this;
    this.connection = null;
    await connection?.close();
  }

  private connectionOptions(): ConnectionOptions {
    const { address, tls, apiKey } = this.config.temporal;
    const bytes = (pem: { reveal(): string } | undefined) => (pem ? Buffer.from(pem.reveal()) : undefined);
    return {
      address,
      connectTimeout: this.connectWithinMilliseconds,
      ...(apiKey ? { apiKey: apiKey.reveal() } : {}),
      ...(tls
        ? {
            tls: {
              serverNameOverride: tls.serverName,
              serverRootCACertificate: bytes(tls.authority),
              ...(tls.certificate && tls.key
                ? { clientCertPair: { crt: Buffer.from(tls.certificate.reveal()), key: Buffer.from(tls.key.reveal()) } }
                : {}),
            },
          }
        : {}),
    };
  }
}
