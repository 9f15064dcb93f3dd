// A member on each of two daemons; the first daemon is killed in the middle of a run. The script says when on its
// standard output, and prints `well` when the survivor's room is in order.
import { URLS, assert, assertWithoutHoles, join, sequences, unique } from './lib.js';

const roomId = unique('room');
const lost = await join('websocket', roomId, 'lost', { url: URLS[0] });
const kept = await join('websocket', roomId, 'kept', { url: URLS[1] });
lost.emit('code-change', { roomId, code: 'of the lost' });
lost.emit('execute-code', { roomId, code: 'import time; time.sleep(60)', language: 'python' });
const started = await kept.wait('execution-started');
console.log('kill');
await kept.wait('user-left', (left) => left.username === 'lost');
assert.deepEqual(await kept.wait('host-assigned'), { isHost: true });
const result = await kept.wait('execution-result');
assert.deepEqual([result.correlationId, result.success, result.error], [started.correlationId, false, 'interrupted']);
const state = await kept.settled(roomId);
assert.deepEqual([state.code, state.executionState.isExecuting], ['of the lost', false]);
assertWithoutHoles(sequences(kept));
// The dead daemon's lock runs out.
kept.emit('execute-code', { roomId, code: 'print("alive")', language: 'python' });
assert.equal((await kept.wait('execution-result', (r) => r.success || r.code)).output, 'alive\n');
console.log('well');
process.exit(0);
