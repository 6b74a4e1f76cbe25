/** A worker that was killed is replaced within a few minutes: until then the server waits for its log. */
const WAIT_SECONDS = 900;
const WAITS_A_SECOND = 20;

/** Files beside the segments: what will come, what the server waits for, the history files, the script. */
export const EXPECTED = 'expected';
export const WANTED = 'wanted';
export const HISTORY = 'history';
export const SCRIPT = 'restore.sh';

/**
 * For the server's configuration, seen from its data directory. A segment is moved and not copied: it takes no time, and one
 * that is gone has been taken, so that the next can be fetched. No Node is started.
 */
export const RESTORE_COMMAND = `mv ../wal/%f %p 2>/dev/null || exec sh ../wal/${SCRIPT} %f %p`;

/**
 * What the server asks for that is not there. Exit 1 means "not archived": the end of the log. What cannot be known must not
 * read as that, so that it is above 125, at which the server stops (xlogarchive.c RestoreArchivedFile).
 */
export const SCRIPT_TEXT = `#!/bin/sh
# Written by drctl for restore_command: $1 is the file's name, $2 where the server wants it.
wal=../wal
case $1 in
  *.history)
    [ -f "$wal/${HISTORY}/$1" ] || exit 1
    cp "$wal/${HISTORY}/$1" "$2" || exit 130
    exit 0 ;;
esac
grep -qx "$1" "$wal/${EXPECTED}"
case $? in
  0) ;;
  1) exit 1 ;;
  *) exit 130 ;;
esac
# It will come. Whoever fetches is told, because it may be one that was taken before the server was started again.
echo "$1" > "$wal/${WANTED}.new" && mv "$wal/${WANTED}.new" "$wal/${WANTED}" || exit 130
left=${WAIT_SECONDS * WAITS_A_SECOND}
while [ ! -f "$wal/$1" ]; do
  left=$((left - 1))
  if [ $left -le 0 ]; then
    echo "drctl has not fetched $1 for ${WAIT_SECONDS} s: repeat the step of the restore" >&2
    exit 130
  fi
  sleep ${1 / WAITS_A_SECOND}
done
rm -f "$wal/${WANTED}"
mv "$wal/$1" "$2" || exit 130
`;
