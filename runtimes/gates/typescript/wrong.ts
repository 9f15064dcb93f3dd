import { missing } from "./nowhere";
let a: string = 1; a.foo; b = undefinedName;
function f(x: number): string { return x } f("x");
interface I { q: number } const i: I = {}; class C implements I { }
