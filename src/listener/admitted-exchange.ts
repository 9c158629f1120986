import type { Refusal } from '../reasons.js';
import { Exchange } from './exchange.js';
import { type Admitted, isAdmitted, isPending, type Pending } from './pipeline.js';
import type { ExternalAnswer } from './ports.js';
import { isUnproven, type Unproven } from './token-admission.js';

/** Asks all the questions there are. */
type Admission = () => Admitted | Pending | Unproven | Refusal;

/** An exchange that goes to the upstream once every question was answered yes, whoever has to be waited for. */
export abstract class AdmittedExchange extends Exchange {
  /** Nothing more can be said in it. */
  protected abstract get isOver(): boolean;

  /** Every question was answered yes. */
  protected abstract goOn(admitted: Admitted): void;

  /** The external engine has answered. */
  protected engineAnswered(_answer: ExternalAnswer): void {
    // what ends by itself is not asked about again
  }

  protected runWith(admit: Admission): void {
    try {
      const answer = admit();
      if (isUnproven(answer)) void this.#proveFirst(answer, admit);
      else if (isPending(answer)) void this.#askFirst(answer);
      else this.#end(answer);
    } catch (cause) {
      this.#fail(cause);
    }
  }

  /** As below, while its token is verified; then all is judged anew. */
  async #proveFirst(unproven: Unproven, admit: Admission): Promise<void> {
    await unproven.prove();
    if (!this.isOver) this.runWith(admit);
  }

  /** Meanwhile nothing more is read of what the client sends, and what is pipelined behind waits. */
  async #askFirst(pending: Pending): Promise<void> {
    try {
      const answer = await this.ask(pending, false);
      if (this.isOver) return;
      this.engineAnswered(answer);
      this.#end(this.admitAnswered(pending, answer));
    } catch (cause) {
      this.#fail(cause);
    }
  }

  #end(answer: Admitted | Refusal): void {
    if (!isAdmitted(answer)) return this.refuse(answer.reason, answer.detail);
    if (this.isBorrowing) this.listener.borrowed.add(this as never);
    this.goOn(answer);
  }

  #fail(cause: unknown): void {
    this.listener.diagnostics.error({ err: cause, id: this.id }, 'a request failed inside the proxy');
    this.refuse('internal_error');
  }

  /** One that waited for a connection, or is sent again, is judged again: what is true now decides. */
  mayBegin(): boolean {
    if (this.isOver) return false;
    const refusal = this.judgeAgain();
    if (refusal !== undefined) this.refuse(refusal.reason, refusal.detail);
    return refusal === undefined;
  }
}
