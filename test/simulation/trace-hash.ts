import type { Command } from '../../controller/scheduler/messages.ts';

/** FNV-1a over every command and its time: two runs with equal digests did the same. */
export class TraceHash {
  private low = 0x811c9dc5;
  private high = 0x9747b28c;

  add(atMs: number, command: Command): void {
    this.text(command.kind);
    this.number(atMs);
    if ('deliveryId' in command) this.number(command.deliveryId);
    if ('environmentId' in command) this.text(command.environmentId);
    if (command.kind === 'postpone') this.number(command.notBeforeMs);
  }

  digest(): string {
    return (this.high >>> 0).toString(16).padStart(8, '0') + (this.low >>> 0).toString(16).padStart(8, '0');
  }

  private number(value: number): void {
    this.mix(value | 0);
    this.mix(Math.floor(value / 2 ** 32));
  }

  private text(text: string): void {
    for (let i = 0; i < text.length; i++) this.mix(text.charCodeAt(i));
  }

  private mix(value: number): void {
    this.low = Math.imul(this.low ^ value, 0x01000193);
    this.high = Math.imul(this.high ^ value ^ (this.low >>> 13), 0x5bd1e995);
  }
}
