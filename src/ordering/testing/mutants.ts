/**
 * Mutants: the ways to get the decision rule wrong (docs/protocol/ordering.md §6, and some more), each as a change to
 * the text of the committer or of its slots. A test applies each one and shows that a drawn case fails on it.
 */

export interface Mutant {
  /** The mistake, in the words of §6 where it stands there. */
  readonly mistake: string;
  readonly file: 'committer.ts' | 'slots.ts' | 'linearizer.ts';
  /** Texts that must stand in the file, each replaced everywhere. */
  readonly changes: readonly (readonly [from: string, to: string])[];
  /** The case that must fail on it. Others may too. */
  readonly caughtBy: string;
}

/** The mistakes §6 lists; some of them can be made in several places. */
export const listedMutants: readonly Mutant[] = [
  {
    mistake: 'skip per twin',
    file: 'committer.ts',
    changes: [
      [
        '    return { byBlock, certifiable, blamers };',
        `    for (const twin of leaders) {
           let against = emptySet;
           for (const { id, author } of this.#view.at(voteRound(slot))) {
             if (byBlock.get(id)?.leader !== twin) against = withReplica(against, author);
           }
           if (this.#rules.rule.isQuorum(against)) blamers = against;
         }
         return { byBlock, certifiable, blamers };`,
      ],
    ],
    caughtBy: 'a twin that nobody cites does not make its slot skip',
  },
  {
    mistake: 'counting blocks, not authors: blames',
    file: 'committer.ts',
    changes: [['blamers = withReplica(blamers, author)', 'blamers = blamers * 2 + 1']],
    caughtBy: 'blames of twins are one blame',
  },
  {
    mistake: 'counting blocks, not authors: certificates',
    file: 'committer.ts',
    changes: [['certifiers = withReplica(certifiers, block.author)', 'certifiers = certifiers * 2 + 1']],
    caughtBy: 'certificates of twins are one certificate',
  },
  {
    mistake: 'counting blocks, not authors: votes in a certificate',
    file: 'committer.ts',
    changes: [['voters = withReplica(voters, vote.author)', 'voters = voters * 2 + 1']],
    caughtBy: 'votes of twins are one vote in a certificate',
  },
  {
    mistake: 'q - 1: blames',
    file: 'committer.ts',
    changes: [['isQuorum(votes.blamers)', 'hasCorrect(votes.blamers)']],
    caughtBy: 'two blames are one too few',
  },
  {
    mistake: 'q - 1: certificates',
    file: 'committer.ts',
    changes: [['isQuorum(certifiers)', 'hasCorrect(certifiers)']],
    caughtBy: 'two certificates are one too few',
  },
  {
    mistake: 'q - 1: votes in a certificate',
    file: 'committer.ts',
    changes: [
      ['isQuorum(voters)', 'hasCorrect(voters)'],
      ['isQuorum(voters.get(each)!)', 'hasCorrect(voters.get(each)!)'],
    ],
    caughtBy: 'two votes make no certificate, however many blocks cite them',
  },
  {
    mistake: 'votes counted outside the vote round',
    file: 'committer.ts',
    changes: [
      [
        'of this.#view.at(voteRound(slot))) {',
        'of [...this.#view.at(voteRound(slot)), ...this.#view.at(voteRound(slot) - 1).filter(({ id }) => support.of(id))]) {',
      ],
    ],
    caughtBy: 'a block that supports the leader below the vote round is no vote, and one that does not is no blame',
  },
  {
    mistake: 'blames counted outside the vote round',
    file: 'committer.ts',
    changes: [
      [
        'of this.#view.at(voteRound(slot))) {',
        'of [...this.#view.at(voteRound(slot)), ...(slot.kind === "fallback" ? this.#view.at(slot.round + 1) : [])]) {',
      ],
    ],
    caughtBy: 'a block that supports the leader below the vote round is no vote, and one that does not is no blame',
  },
  {
    mistake: 'an anchor one round too early',
    file: 'slots.ts',
    changes: [['return decisionRound(slot) + 1;', 'return decisionRound(slot);']],
    caughtBy: 'an anchor with a certificate in its history commits, and none stands as low as the certificates',
  },
  {
    mistake: 'passing an undecided anchor',
    file: 'committer.ts',
    changes: [
      [
        "if (outcome.status === 'undecided') return undecided;\n      anchor",
        'if (this.#view.highestRound < voteRound(anchor)) return undecided;\n      anchor',
      ],
    ],
    caughtBy: 'an undecided anchor is not passed, whatever is committed above it',
  },
  {
    mistake: 'a link to the anchor without a certificate: to the leader',
    file: 'committer.ts',
    changes: [
      ['if (votes.certifiable.length === 0) return skip;', ''],
      ['const round = decisionRound(slot);', 'const round = slot.round;'],
      [
        'votes.certifiable.find((each) => this.#isCertificate(block, each, votes))',
        '(block.author === this.#leaderAuthor(slot) ? block.id : undefined)',
      ],
    ],
    caughtBy: 'a link from the anchor to the leader without a certificate skips',
  },
  {
    mistake: 'a link to the anchor without a certificate: to a vote',
    file: 'committer.ts',
    changes: [
      ['if (votes.certifiable.length === 0) return skip;', ''],
      ['const round = decisionRound(slot);', 'const round = voteRound(slot);'],
      [
        'votes.certifiable.find((each) => this.#isCertificate(block, each, votes))',
        'votes.byBlock.get(block.id)?.leader',
      ],
    ],
    caughtBy: 'a link from the anchor to the leader without a certificate skips',
  },
  {
    mistake: 'a fallback slot with a steady anchor',
    file: 'slots.ts',
    changes: [["of.kind === 'fallback'", 'false']],
    caughtBy: 'a fallback slot takes no steady anchor',
  },
  {
    mistake: 'the fallback slot placed by its own round',
    file: 'slots.ts',
    changes: [['const fallbackLead = 3;', 'const fallbackLead = 0;']],
    caughtBy: 'a committed fallback slot decides the slots at which a known leader was held back for ever',
  },
  {
    mistake: 'void judged by undecided slots: taken for uncommitted',
    file: 'committer.ts',
    changes: [
      [
        "if (outcome.status === 'undecided') break;",
        `if (outcome.status === 'undecided') {
           if (next.kind === 'fallback' || view.highestRound < voteRound(next)) break;
           next = slotAfter(next, rules);
           continue;
         }`,
      ],
    ],
    caughtBy: 'void is judged by decided slots only: a fallback slot waits for an undecided slot before it',
  },
  {
    mistake: 'void judged by undecided slots: taken for committed',
    file: 'committer.ts',
    changes: [
      [
        "if (outcome.status === 'undecided') break;",
        `if (outcome.status === 'undecided') {
           if (next.kind === 'fallback' || view.highestRound < voteRound(next)) break;
           next = slotAfter(next, rules);
           periodHasCommit = true;
           continue;
         }`,
      ],
    ],
    caughtBy: 'void is judged by decided slots only: a fallback slot waits for an undecided slot before it',
  },
  {
    mistake: 'resuming at the last commit in place of the last decided slot',
    file: 'committer.ts',
    changes: [
      [
        'return { decisions, position: { next, periodHasCommit } };',
        `const last = decisions.findLastIndex(({ status }) => status === 'commit');
         let resumed = last < 0 ? from.next : slotAfter(decisions[last]!, rules);
         return { decisions, position: { next: resumed, periodHasCommit } };`,
      ],
    ],
    caughtBy: 'skips after the last commit are not decided again',
  },
  {
    mistake: 'Map order as tie-break: a block supports the twin that came first',
    file: 'committer.ts',
    changes: [
      [
        'const supported = this.#firstAmong(this.#view.get(id));',
        `const supported = [...this.#leaders].find(
           (leader) => new Support(this.#view, this.#round, new Set([leader])).#firstAmong(this.#view.get(id)) !== undefined,
         );`,
      ],
    ],
    caughtBy: 'of two twins in its history a block supports the one met first along its parents',
  },
];

/** The same, and others, in the order of blocks (§5). */
export const linearizerMutants: readonly Mutant[] = [
  {
    mistake: 'Map order as tie-break: twins in the order in which they are met',
    file: 'linearizer.ts',
    changes: [['(a.id < b.id ? -1 : 1)', '0']],
    caughtBy: 'twins by digest, whichever is met first',
  },
  {
    mistake: 'blocks at the horizon taken',
    file: 'linearizer.ts',
    changes: [['block.round <= horizon', 'block.round < horizon']],
    caughtBy: 'blocks at the horizon and below are left out',
  },
  {
    mistake: 'blocks of earlier commits taken again',
    file: 'linearizer.ts',
    changes: [['if (isCommitted(id)) continue;', '']],
    caughtBy: 'blocks of an earlier commit are left out',
  },
  {
    mistake: 'the leader first',
    file: 'linearizer.ts',
    changes: [['return ordered.sort(compareBlocks);', 'return ordered;']],
    caughtBy: 'the history of the leader by round, then author',
  },
];

/** Other mistakes that the text of §4 rules out. */
export const furtherMutants: readonly Mutant[] = [
  {
    mistake: 'support by the last parent first',
    file: 'committer.ts',
    changes: [
      ['of block.parents) {\n      if (this.#leaders', 'of [...block.parents].reverse()) {\n      if (this.#leaders'],
    ],
    caughtBy: 'of two twins in its history a block supports the one met first along its parents',
  },
  {
    mistake: 'support of direct parents only',
    file: 'committer.ts',
    changes: [['block.round === this.#round + 1 ? undefined : this.of(parent)', 'undefined']],
    caughtBy: 'a fallback slot commits with votes three and certificates four rounds above it',
  },
  {
    mistake: 'the highest slot decided first, but by direct decisions only',
    file: 'committer.ts',
    changes: [["direct.status === 'undecided' ? this.#indirect(each) : direct", 'direct']],
    caughtBy: 'a link from the anchor to the leader without a certificate skips',
  },
  {
    mistake: 'an anchor one round too late',
    file: 'slots.ts',
    changes: [['return decisionRound(slot) + 1;', 'return decisionRound(slot) + 2;']],
    caughtBy: 'the first anchor counts, though the next one has a certificate in its history',
  },
  {
    mistake: 'an anchor one round too late for fallback slots',
    file: 'slots.ts',
    changes: [['return decisionRound(slot) + 1;', "return decisionRound(slot) + (slot.kind === 'fallback' ? 2 : 1);"]],
    caughtBy: 'a fallback anchor may stand right above the decision round',
  },
  {
    mistake: 'a skipped anchor not passed',
    file: 'committer.ts',
    changes: [
      ["if (outcome.status === 'undecided') return undecided;\n      anchor", 'return undecided;\n      anchor'],
    ],
    caughtBy: 'a skipped anchor is passed',
  },
  {
    mistake: 'steady slots take no fallback anchor',
    file: 'slots.ts',
    changes: [
      [
        'while (candidate.round < anchorRound(of));',
        'while (candidate.round < anchorRound(of) || candidate.kind !== of.kind);',
      ],
    ],
    caughtBy: 'a committed fallback slot decides the slots at which a known leader was held back for ever',
  },
  {
    mistake: 'a fallback wave without boost rounds',
    file: 'slots.ts',
    changes: [['slot.round + 1 : slot.round + 3', 'slot.round + 1 : slot.round + 1']],
    caughtBy: 'no fallback slot commits a round earlier',
  },
  {
    mistake: 'a fallback wave one boost round short',
    file: 'slots.ts',
    changes: [['slot.round + 1 : slot.round + 3', 'slot.round + 1 : slot.round + 2']],
    caughtBy: 'no fallback slot commits a round earlier',
  },
  {
    mistake: 'certificates looked for at the vote round',
    file: 'slots.ts',
    changes: [['return voteRound(slot) + 1;', 'return voteRound(slot);']],
    caughtBy: 'three certificates commit a leader',
  },
  {
    mistake: 'every fallback slot a commit point',
    file: 'committer.ts',
    changes: [["next.kind === 'fallback' && periodHasCommit", 'false']],
    caughtBy: 'a commit in its period makes a fallback slot void, and its coin is not waited for',
  },
  {
    mistake: 'a void fallback slot waits for its coin',
    file: 'committer.ts',
    changes: [
      [
        "isVoid ? { status: 'void' } : outcomes.of(next)",
        "isVoid && outcomes.of(next).status !== 'undecided' ? { status: 'void' } : outcomes.of(next)",
      ],
    ],
    caughtBy: 'a commit in its period makes a fallback slot void, and its coin is not waited for',
  },
  {
    mistake: 'a commit of any earlier period makes a fallback slot void',
    file: 'committer.ts',
    changes: [
      ["next.kind === 'steady' && (periodHasCommit || status === 'commit')", "periodHasCommit || status === 'commit'"],
    ],
    caughtBy: 'a commit before the previous fallback slot makes none void',
  },
  {
    mistake: 'the commit of a fallback slot counted for the next period',
    file: 'committer.ts',
    changes: [
      [
        "next.kind === 'steady' && (periodHasCommit || status === 'commit')",
        "status === 'commit' || (next.kind === 'steady' && periodHasCommit)",
      ],
    ],
    caughtBy: 'a commit of the fallback slot itself makes the next one not void',
  },
  {
    mistake: 'the commit of the period forgotten between calls',
    file: 'committer.ts',
    changes: [
      ['decisions, position: { next, periodHasCommit }', 'decisions, position: { next, periodHasCommit: false }'],
    ],
    caughtBy: 'a void fallback slot still serves as an anchor',
  },
  {
    mistake: 'a void fallback slot is no anchor',
    file: 'committer.ts',
    changes: [
      [
        'anchor = anchorAfter(anchor, slot, this.#rules);\n',
        `do anchor = anchorAfter(anchor, slot, this.#rules); while (anchor.kind === 'fallback' && slot.kind === 'steady');\n`,
      ],
      [
        'let anchor = anchorAfter(slot, slot, this.#rules);',
        `let anchor = anchorAfter(slot, slot, this.#rules);
         if (anchor.kind === 'fallback' && slot.kind === 'steady') anchor = anchorAfter(anchor, slot, this.#rules);`,
      ],
    ],
    caughtBy: 'a void fallback slot still serves as an anchor',
  },
  {
    mistake: 'a slot whose coin is not open skips through an anchor',
    file: 'committer.ts',
    changes: [
      [
        'if (votes === undefined) return undecided;\n    if (votes.certifiable',
        'if (votes === undefined) return skip;\n    if (votes.certifiable',
      ],
    ],
    caughtBy: 'a fallback slot whose coin is not open is undecided below a committed one too',
  },
  {
    mistake: 'the leader of a rank is that of rank 0',
    file: 'slots.ts',
    changes: [['(slot.round + slot.rank) % n', 'slot.round % n']],
    caughtBy: 'two ranks: slots of a round by rank, and the fallback slot after the last of them',
  },
  {
    mistake: 'the fallback slot before the other ranks of its place',
    file: 'slots.ts',
    changes: [
      [
        'if (slot.rank + 1 < schedule.ranks)',
        'if (slot.rank + 1 < schedule.ranks && (slot.round + fallbackLead) % schedule.period !== 0)',
      ],
    ],
    caughtBy: 'two ranks: slots of a round by rank, and the fallback slot after the last of them',
  },
];
