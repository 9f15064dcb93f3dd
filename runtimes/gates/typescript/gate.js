'use strict';
// The gate of TypeScript's compiler: brought in by NODE_OPTIONS before node opens tsc.js, it compiles in place of it, once.
// What tsc does with files on its command line is done through the compiler's public API, by a compiler that is warm: its
// code is optimised, and the declarations that every program needs are parsed. The user's program does not run here.
(() => {
  const childProcess = require('child_process');
  const fs = require('fs');
  const path = require('path');

  const GATE = 63;
  const WARM_UPS = 3;
  // What these mean is decided within the API's program. Others may be an affair of tsc itself.
  const OPTIONS = new Set([
    'allowUnreachableCode', 'allowUnusedLabels', 'alwaysStrict', 'esModuleInterop', 'experimentalDecorators',
    'forceConsistentCasingInFileNames', 'inlineSourceMap', 'inlineSources', 'lib', 'module', 'moduleResolution',
    'noEmitOnError', 'noFallthroughCasesInSwitch', 'noImplicitAny', 'noImplicitReturns', 'noImplicitThis', 'outDir',
    'pretty', 'removeComments', 'resolveJsonModule', 'skipLibCheck', 'sourceMap', 'strict', 'strictNullChecks', 'target',
    'types', 'useDefineForClassFields',
  ]);

  delete process.env.NODE_OPTIONS;
  const tsc = process.argv[1];
  const words = process.argv.slice(2);
  const api = path.join(path.dirname(tsc), 'typescript.js');
  const ts = require(api);
  const { fileNames, options, errors } = ts.parseCommandLine(words, name => ts.sys.readFile(name));
  const foreign = Object.keys(options).filter(name => !OPTIONS.has(name));
  if (errors.length > 0 || fileNames.length === 0 || options.pretty !== false || foreign.length > 0) {
    throw new Error(`only tsc itself knows what to do with: ${words.join(' ')}`);
  }
  if (options.outDir) options.outDir = path.resolve(options.outDir);

  // As tsc's executeCommandLine and emitFilesAndReportErrors.
  function compile(host, rootNames, options) {
    const program = ts.createProgram({ rootNames, options, host, configFileParsingDiagnostics: [] });
    const found = [...program.getSyntacticDiagnostics()];
    if (found.length === 0) {
      found.push(...program.getOptionsDiagnostics(), ...program.getGlobalDiagnostics());
      if (found.length === 0) found.push(...program.getSemanticDiagnostics());
    }
    const emitted = program.emit();
    const diagnostics = ts.sortAndDeduplicateDiagnostics([...found, ...emitted.diagnostics]);
    const text = diagnostics.map(diagnostic => ts.formatDiagnostic(diagnostic, host)).join('');
    return { text, status: diagnostics.length === 0 ? 0 : emitted.emitSkipped ? 1 : 2 };
  }

  // Parsed files of the toolchain. What the binder adds to them depends on the options alone, which are always the same: so
  // do the language services of editors share them.
  const parsed = new Map();

  // Compiles what most programs use, with errors and without. It writes nothing.
  function warmUp() {
    const own = new Map();
    for (const name of ['warm.ts', 'other.ts', 'wrong.ts', 'node.d.ts']) {
      own.set(path.resolve(name), fs.readFileSync(path.join(__dirname, name), 'utf8'));
    }
    const host = ts.createCompilerHost(options);
    const { getSourceFile, fileExists } = host;
    host.getSourceFile = (name, language, ...rest) => {
      const text = own.get(path.resolve(name));
      if (text !== undefined) return ts.createSourceFile(name, text, language);
      if (!parsed.has(name)) parsed.set(name, getSourceFile.call(host, name, language, ...rest));
      return parsed.get(name);
    };
    host.fileExists = name => own.has(path.resolve(name)) || fileExists.call(host, name);
    host.writeFile = () => {};
    // Where the real declarations of node are at hand, they are better.
    const declarations = options.types ? [] : ['node.d.ts'];
    for (let round = 0; round < WARM_UPS; round++) {
      compile(host, [...declarations, 'warm.ts'], { ...options, noEmitOnError: false });
      compile(host, [...declarations, 'wrong.ts'], options);
    }
  }

  // Changes when one of the files does.
  function stamp(files) {
    return files.map(name => {
      const { dev, ino, size, mtimeMs } = fs.statSync(name);
      return `${dev} ${ino} ${size} ${mtimeMs}`;
    }).join();
  }

  // tsc itself, to the letter.
  function plainly() {
    const argv = [...process.execArgv, tsc, ...words];
    const { status, signal } = childProcess.spawnSync(process.execPath, argv, { stdio: 'inherit' });
    if (signal) process.kill(process.pid, signal);
    process.reallyExit(status);
  }

  warmUp();
  const files = [tsc, api, ...parsed.keys()];
  const known = stamp(files);
  require('v8').setFlagsFromString('--expose-gc');
  require('vm').runInNewContext('gc')();

  const message = Buffer.alloc(1);
  fs.writeSync(GATE, 'R');
  if (fs.readSync(GATE, message, 0, 1) === 0 || message[0] !== 0x47) process.reallyExit(0);
  fs.closeSync(GATE);

  let result;
  try {
    // What was loaded must still be what a plain start would load.
    if (stamp(files) !== known) plainly();
    const host = ts.createCompilerHost(options);
    const { getSourceFile } = host;
    host.getSourceFile = (name, ...rest) => parsed.get(name) || getSourceFile.call(host, name, ...rest);
    result = compile(host, fileNames, options);
  } catch {
    // A defect of the compiler's, or nesting too deep for it: the report has its own lines and its own stack.
    plainly();
  }
  // Names of unique symbols are counted over all that was compiled.
  if (result.text.includes('__@')) plainly();
  const text = Buffer.from(result.text);
  for (let at = 0; at < text.length;) at += fs.writeSync(1, text, at);
  process.reallyExit(result.status);
})();
