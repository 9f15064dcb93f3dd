export const x: number = 1;
export default class Other { y = x }
