'use strict';
// The gate of Node.js: brought in by NODE_OPTIONS, it runs as the last step of node's start and takes itself back.
// Worker threads inherit the option; there only the taking back is left to do.
(() => {
  const fs = require('fs');
  const Module = require('module');

  delete process.env.NODE_OPTIONS;
  delete require.cache[__filename];
  for (const key of Object.keys(Module._pathCache)) {
    if (Module._pathCache[key] === __filename) delete Module._pathCache[key];
  }
  if (process.chdir.disabled) return;

  // What a program pays for at its first output. Not the streams themselves: they take a descriptor, and its number shows.
  require('net');

  const message = Buffer.alloc(1);
  fs.writeSync(63, 'R');
  if (fs.readSync(63, message, 0, 1) === 0 || message[0] !== 0x47) process.reallyExit(0);
  fs.closeSync(63);

  // The name of the program says how it is to be read, and it is known only now. `process.argv` can still be told;
  // the path that node passes on to `runMain` is replaced there, where it is looked up: a wrapper would stand in stacks.
  const script = process.argv[1];
  const module = script.replace(/\.js$/, '.mjs');
  if (!fs.existsSync(script) && fs.existsSync(module)) {
    process.argv[1] = module;
    const property = Object.getOwnPropertyDescriptor(Module, 'runMain');
    Object.defineProperty(Module, 'runMain', {
      configurable: true,
      enumerable: true,
      get() {
        Object.defineProperty(Module, 'runMain', property);
        return () => property.value.call(Module, module);
      },
    });
  }
})();
