import { type Fields, fieldsOf } from '../record-line.js';
import { fieldOf, type RecordOpening, type ScannedRecord } from '../record-scanner.js';
import { CappedMap, nameOf } from './capped-map.js';
import { widen } from './time-span.js';

/** One process, since one start of it. */
export interface StreamTally {
  id: string;
  boot: string;
  worker: number;
  records: number;
  seals: number;
  /** Numbers of its first and last record here. */
  from: number;
  to: number;
  first: string;
  last: string;
}

const MAX_STREAMS = 10_000;

/** Which processes wrote these records, and whether their numbers are whole. */
export class StreamsTally {
  readonly streams = new CappedMap<StreamTally>(MAX_STREAMS, () => ({
    id: '',
    boot: '',
    worker: 0,
    records: 0,
    seals: 0,
    from: 0,
    to: 0,
    first: '',
    last: '',
  }));
  readonly #known = new WeakMap<RecordOpening, StreamTally>();

  /** @returns the stream of the record. */
  take(record: ScannedRecord): StreamTally {
    const stream = this.#known.get(record.opening) ?? this.#find(record);
    if (record.event === 'audit.seal') stream.seals++;
    else {
      const seq = fieldOf(record, 'seq');
      stream.records++;
      if (typeof seq === 'number') {
        if (stream.from === 0 || seq < stream.from) stream.from = seq;
        if (seq > stream.to) stream.to = seq;
      }
    }
    widen(stream, record.time);
    return stream;
  }

  #find(record: ScannedRecord): StreamTally {
    const fields = fieldsOf(fieldOf(record, 'stream'));
    const stream = this.#at(fields);
    if (record.opening.fields.stream !== undefined) this.#known.set(record.opening, stream);
    return stream;
  }

  #at({ id, boot, worker }: Fields): StreamTally {
    const number = typeof worker === 'number' ? worker : 0;
    const key = `${nameOf(id)}\n${nameOf(boot)}\n${number}`;
    const known = this.streams.get(key);
    if (known !== undefined) return known;
    const stream = this.streams.at(key);
    if (this.streams.get(key) === stream) {
      stream.id = nameOf(id);
      stream.boot = nameOf(boot);
      stream.worker = number;
    }
    return stream;
  }
}
