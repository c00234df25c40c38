/** The thread that owns the log's file: it waits for the disk so that the main thread does not have to. */
import { parentPort, workerData } from 'node:worker_threads';
import { damageOf, DataFileError, DataFolderInUseError } from '../sqlite/database.ts';
import type { FromThread, LogResult, Refusal, ThreadOptions, ToThread } from './sqlite-log-protocol.ts';
import { LogStore } from './sqlite-log-store.ts';

const port = parentPort;
if (port === null) throw new Error('sqlite-log-thread.ts is started by openSqliteLog, not by itself.');
const { file, partitions } = workerData as ThreadOptions;

function send(message: FromThread, transfer: ArrayBuffer[] = []): void {
  port?.postMessage(message, transfer);
}

/** Payloads that were read go over without a copy. */
function buffersOf(results: readonly LogResult[]): ArrayBuffer[] {
  return results.flatMap((result) => (result instanceof Uint8Array && result.buffer instanceof ArrayBuffer ? [result.buffer] : []));
}

function serve(store: LogStore): void {
  port?.on('message', (message: ToThread) => {
    if (message === 'close') {
      store.close();
      port?.close();
      return;
    }
    try {
      const results = store.run(message);
      send({ results }, buffersOf(results));
    } catch (error) {
      send({ failed: (damageOf(error, file) ?? (error as Error)).message });
    }
  });
}

function refusalOf(error: unknown): Refusal {
  if (error instanceof DataFolderInUseError) return { kind: 'inUse', folder: error.folder };
  if (error instanceof DataFileError) return { kind: 'file', file: error.file, problem: error.problem, remedy: error.remedy };
  return { kind: 'other', message: error instanceof Error ? error.message : String(error) };
}

try {
  const store = new LogStore(file, partitions);
  const state = store.state();
  serve(store);
  send({ opened: state });
} catch (error) {
  send({ refused: refusalOf(damageOf(error, file) ?? error) });
}
