// A connection that is lost in the middle of a run, and messages that were missed.
import { assert, join, overBoth, post, unique } from '../lib.js';

overBoth('reconnecting', (transport, it) => {
  it('who comes back in the middle of a run still gets its result', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const code = "import time\nprint('begun', flush=True)\ntime.sleep(3)\nprint('whole')";
    alice.emit('execute-code', { roomId, code, language: 'python', userId: 'id-alice' });
    const started = await alice.wait('execution-started');
    // No goodbye: the transport breaks.
    alice.socket.io.engine.close();
    const again = await join(transport, roomId, 'alice');
    assert.equal(again.state.executionState.isExecuting, true, JSON.stringify(again.state));
    assert.ok(again.state.executionState.currentExecutionId);
    const result = await again.wait('execution-result');
    assert.equal(result.correlationId, started.correlationId);
    assert.equal(result.output, 'begun\nwhole\n');
    const state = await again.settled(roomId);
    assert.equal(state.executionState.isExecuting, false);
    assert.equal(state.executionState.currentExecutionId, null);
    assert.equal(state.executionState.executionCount, 1);
    assert.ok(!Number.isNaN(Date.parse(state.executionState.lastExecutionAt)) || state.executionState.lastExecutionAt > 0);
  });

  it('a repeat of the request over HTTP gets the same result', async () => {
    const roomId = unique('room');
    const body = { language: 'python', code: 'import uuid\nprint(uuid.uuid4())', roomId, userId: 'u', correlationId: unique('c') };
    const first = await post('/compile', body);
    const second = await post('/compile', body);
    assert.equal(first.body.output, second.body.output);
    assert.equal(second.headers.get('idempotent-replay'), 'true');
  });

  it('a client that missed messages asks for the state', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    for (let n = 0; n < 5; n++) alice.emit('code-change', { roomId, code: `${n}` });
    await bob.wait('code-update', (u) => u.code === '4');
    const state = await bob.settled(roomId);
    assert.equal(state.code, '4');
    assert.equal(state.sequence, bob.state.sequence + 5);
  });

  it('a numbered client that comes back starts anew', async () => {
    const roomId = unique('room');
    const watcher = await join(transport, roomId, 'watcher');
    const alice = await join(transport, roomId, 'alice');
    const start = alice.state.nextExpectedSequence;
    alice.emit('code-change', { roomId, code: 'before', sequence: start });
    await watcher.wait('code-update', (u) => u.code === 'before');
    alice.close();
    await watcher.wait('user-left');
    const again = await join(transport, roomId, 'alice');
    again.emit('code-change', { roomId, code: 'after', sequence: again.state.nextExpectedSequence });
    assert.equal((await watcher.wait('code-update')).code, 'after');
  });
});
