import * as fs from "fs";
import { readFileSync } from "node:fs";
import Other, { x } from "./other";
enum Color { Red, Green = "g" as any }
const enum Small { A = 1, B }
namespace Space { export const inner = 1; }
interface Shape { readonly kind: "circle" | "square"; area(): number; name?: string; }
type Pair<A, B = A> = [A, B]; type Keys<T> = { [K in keyof T]?: T[K] }; type Ret<F> = F extends (...a: any[]) => infer R ? R : never;
abstract class Base<T extends Shape> implements Shape {
    kind: "circle" = "circle"; static count = 0; #secret = 1; protected items: T[] = [];
    constructor(private readonly r: number, public name: string = "x") { Base.count++; }
    abstract area(): number; get radius(): number { return this.r + this.#secret; } set radius(v: number) { }
    add(item: T): this { this.items.push(item); return this; }
}
class Circle extends Base<Shape> { area(): number { return Math.PI * this.radius ** 2; } override toString(): string { return `${this.kind}: ${this.area().toFixed(2)}`; } }
function max<T>(list: T[], by: (x: T) => number): T | undefined { let best: T | undefined; for (const item of list) if (best === undefined || by(item) > by(best)) best = item; return best; }
function over(a: string): string; function over(a: number): number; function over(a: any): any { return a; }
async function later(ms: number): Promise<string> { await new Promise<void>(resolve => setTimeout(resolve, ms)); return "done"; }
function* count(n: number): Generator<number> { for (let i = 0; i < n; i++) yield i; }
const isShape = (v: unknown): v is Shape => typeof v === "object" && v !== null && "area" in v;
const text: string = fs.readFileSync(0, "utf8").trim(); const lines = text.split("\n").map(l => l.trim()).filter(l => l.length > 0);
const groups = new Map<string, number[]>(); const seen: Set<string> = new Set(lines); const record: Record<string, number> = {};
for (const [i, line] of lines.entries()) { (groups.get(line) ?? groups.set(line, []).get(line)!).push(i); record[line] = (record[line] || 0) + 1; }
const { length, ...rest } = { length: 1, a: 2, b: [1, 2, 3] }; const [first, second = 2, ...others] = rest.b; const merged = { ...rest, first, [`k${second}`]: others };
const shapes: Shape[] = [new Circle(1), new Circle(2)]; const total = shapes.reduce((sum, s) => sum + s.area(), 0); const sorted = [...shapes].sort((a, b) => a.area() - b.area());
const pair: Pair<number, string> = [1, "a"]; const partial: Keys<{ a: number; b: string }> = { a: 1 }; const r: Ret<typeof max> = undefined as any; const tuple = [1, "x", true] as const;
switch (shapes[0].kind) { case "circle": console.log("c"); break; case "square": { console.log("s"); break; } default: throw new Error("x"); }
try { JSON.parse(text); } catch (e) { if (e instanceof Error) console.error(e.message); } finally { console.log("end"); }
let n = 0; do { n++; if (n % 2) continue; } while (n < 5); while (n-- > 0) { } label: for (let i = 0; i < 2; i++) { for (const k in record) { if (k) break label; } }
const nested = (a: number) => (b: number): number => a + b; const optional = shapes[0]?.name?.length ?? 0; const big = 10n ** 2n; const regex = /a(b)?/g.exec("ab")?.[1]; const date = new Date().toISOString();
function assertNever(x: never): never { throw new Error("unexpected " + x); } function fib(n: number): number { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
console.log(`${Color.Red} ${Small.B} ${Space.inner} ${total} ${max([1, 2], x => x)} ${over(1)} ${[...count(3)].join(", ")} ${isShape({})} ${seen.size}`, merged, sorted, pair, partial, r, tuple, nested(1)(2), optional, big, regex, date, fib(5), length, new Other().y, x, groups);
later(1).then(v => console.log(v)).catch(console.error); Promise.all([later(1), later(2)]).then(([a, b]) => console.log(a + b)); process.on("exit", code => console.log(code)); process.stdout.write("x"); export { Circle, max }; export default fib;
