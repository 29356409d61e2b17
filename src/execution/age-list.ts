/**
 * Age list: things in the order in which they were added or last used, so that the oldest can be forgotten first.
 *
 * Each step takes the same time however long the list is. (A Map or Set also remembers an order, but finding its first
 * entry means walking over all that were deleted before it.)
 */
export interface Aged<Item> {
  older: Item | undefined;
  younger: Item | undefined;
}

export class AgeList<Item extends Aged<Item>> {
  #oldest: Item | undefined;
  #youngest: Item | undefined;

  get oldest(): Item | undefined {
    return this.#oldest;
  }

  get youngest(): Item | undefined {
    return this.#youngest;
  }

  /** Adds a thing that is in no list, as the youngest. */
  add(item: Item): void {
    item.older = this.#youngest;
    item.younger = undefined;
    if (this.#youngest === undefined) this.#oldest = item;
    else this.#youngest.younger = item;
    this.#youngest = item;
  }

  /** Removes a thing that is in this list. */
  remove(item: Item): void {
    if (item.older === undefined) this.#oldest = item.younger;
    else item.older.younger = item.younger;
    if (item.younger === undefined) this.#youngest = item.older;
    else item.younger.older = item.older;
    item.older = undefined;
    item.younger = undefined;
  }
}
