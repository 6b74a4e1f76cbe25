import type { Leave, RestoredStore } from '../../../core/recovery';
import type { Marker, PlacePaths } from './restore-place';

/** What a place holds now, and how a person goes on with it. `program`: the server's own, where it has to be started. */
export function restored(paths: PlacePaths, marker: Marker, program = 'postgres'): RestoredStore {
  const state: Leave = marker.phase === 'open' ? 'open' : marker.phase === 'shutdown' ? 'shutdown' : 'paused';
  return {
    directory: paths.root,
    state,
    address: { host: marker.host, port: marker.port },
    reachedPosition: marker.reachedPosition === null ? null : { engine: 'postgresql', ...marker.reachedPosition },
    reachedTime: marker.reachedTime,
    notes: notesOf(state, paths, program),
  };
}

function notesOf(state: Leave, paths: PlacePaths, program: string): string[] {
  switch (state) {
    case 'open':
      return [];
    case 'paused':
      return [
        'paused at the target and readable; SELECT pg_promote() opens it for writing, on a timeline of its own',
        'for another target restore again into the same directory with --overwrite',
      ];
    default:
      return [
        'shut down at the target; when it is started it opens there for writing, on a timeline of its own: ' +
          `${program} -D ${paths.data} -c config_file=${paths.config} (as the user that owns the directory)`,
      ];
  }
}
