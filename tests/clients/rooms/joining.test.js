// Who is there: joining, leaving, lists of participants, the host.
import { Client, assert, behind, join, overBoth, unique } from '../lib.js';

overBoth('joining', (transport, it) => {
  it('a new room has its defaults, and joining takes no number', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    assert.equal(alice.state.code, '//Welcome to JustCoding');
    assert.equal(alice.state.language, 'javascript');
    assert.equal(alice.state.nextExpectedSequence, alice.state.sequence + 1);
    assert.deepEqual(alice.state.executionState, {
      isExecuting: false, currentExecutionId: null, lastExecutionAt: null, executionCount: 0,
    });
    const bob = await join(transport, roomId, 'bob');
    assert.equal(bob.state.sequence, alice.state.sequence);
  });

  it('the others are told of who comes and goes, the joiner is not told of itself', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob', { color: '#ff0000' });
    const joined = await alice.wait('user-joined');
    assert.equal(joined.username, 'bob');
    assert.equal(joined.userId, 'id-bob');
    assert.equal(joined.color, '#ff0000');
    assert.ok(joined.message.includes('bob'));
    assert.ok(!Number.isNaN(Date.parse(joined.timestamp)));
    await behind(alice, bob, roomId);
    assert.equal(bob.all('user-joined').length, 0);
    bob.close();
    const left = await alice.wait('user-left');
    assert.equal(left.username, 'bob');
    assert.equal(left.userId, 'id-bob');
    assert.ok(left.message.includes('bob'));
  });

  it('the list of participants never holds its reader', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob', { color: '#00ff00' });
    const ofAlice = await alice.wait('participants-list', (list) => list.length === 1);
    assert.deepEqual(ofAlice.map((p) => [p.username, p.userId, p.color, p.isHost]), [['bob', 'id-bob', '#00ff00', false]]);
    assert.equal(typeof ofAlice[0].isActive, 'boolean');
    const ofBob = await bob.wait('participants-list', (list) => list.length === 1);
    assert.deepEqual(ofBob.map((p) => [p.username, p.userId, p.isHost]), [['alice', 'id-alice', true]]);
    bob.close();
    await alice.wait('participants-list', (list) => list.length === 0 && alice.all('user-left').length === 1);
  });

  it('the first is host, and when the host leaves, whoever has been there longest', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    assert.equal((await alice.wait('host-assigned')).isHost, true);
    const bob = await join(transport, roomId, 'bob');
    await join(transport, roomId, 'carol');
    await behind(alice, bob, roomId);
    assert.ok(bob.all('host-assigned').every((h) => h.isHost === false));
    alice.close();
    await bob.wait('host-assigned', (h) => h.isHost === true);
    await bob.wait('participants-list', (list) => list.length === 1 && list[0].username === 'carol' && !list[0].isHost);
  });

  it('a page that joins again and again hurts nobody and stays one member', async () => {
    const roomId = unique('room');
    const alice = await join(transport, roomId, 'alice');
    const bob = await join(transport, roomId, 'bob');
    for (let i = 0; i < 37; i++) bob.emit('join-room', { roomId, username: 'bob', userId: 'id-bob' });
    await bob.settled(roomId);
    await behind(bob, alice, roomId);
    assert.equal(alice.all('participants-list').at(-1).length, 1);
    alice.emit('code-change', { roomId, code: 'after' });
    assert.equal((await bob.wait('code-update', (u) => u.code === 'after')).username, 'alice');
    await behind(alice, bob, roomId);
    assert.equal(bob.all('code-update').filter((u) => u.code === 'after').length, 1, 'once, not 38 times');
    bob.close();
    await alice.wait('participants-list', (list) => list.length === 0 && alice.all('user-left').length >= 1);
  });

  it('moving to another room leaves the first', async () => {
    const [one, two] = [unique('room'), unique('room')];
    const alice = await join(transport, one, 'alice');
    const bob = await join(transport, one, 'bob');
    bob.emit('join-room', { roomId: two, username: 'bob', userId: 'id-bob' });
    await bob.wait('room-state');
    assert.equal((await alice.wait('user-left')).userId, 'id-bob');
    alice.emit('code-change', { roomId: one, code: 'unseen' });
    await alice.settled(one);
    const carol = await join(transport, two, 'carol');
    await behind(carol, bob, two);
    assert.ok(!bob.all('code-update').some((u) => u.code === 'unseen'));
  });

  it('bad messages get an error and change nothing', async () => {
    const roomId = unique('room');
    const stranger = await Client.connect(transport);
    for (const bad of [undefined, null, 5, 'text', [], {}, { roomId: 5, username: 'x' }, { roomId: '', username: 'x' }, { roomId: 'x'.repeat(500), username: 'x' }]) {
      stranger.emit('join-room', bad);
      const error = await stranger.wait('error');
      assert.equal(typeof error.message, 'string');
      assert.ok(error.message.length > 0);
    }
    const alice = await join(transport, roomId, 'alice');
    for (const [name, bad] of [
      ['code-change', { roomId }],
      ['code-change', { roomId, code: 5 }],
      ['code-change', { roomId, code: 'x', sequence: -1 }],
      ['code-change', { roomId, code: 'x', sequence: 'one' }],
      ['language-change', { roomId, language: {} }],
      ['send-chat', { roomId, message: [] }],
    ]) {
      alice.emit(name, bad);
      assert.equal(typeof (await alice.wait('error')).message, 'string', `${name} ${JSON.stringify(bad)}`);
    }
    stranger.emit('code-change', { roomId, code: 'not a member' });
    await stranger.wait('error');
    const state = await alice.settled(roomId);
    assert.equal(state.code, '//Welcome to JustCoding');
    assert.equal(state.sequence, alice.state.sequence);
  });
});
