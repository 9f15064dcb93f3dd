interface Console { log(...data: any[]): void; error(...data: any[]): void }
declare var console: Console;
declare var process: { [further: string]: any };
declare function setTimeout(callback: (...args: any[]) => void, ms?: number, ...args: any[]): any;
declare module "fs" { export const readFileSync: any }
declare module "node:fs" { export * from "fs" }
