# SPDX-License-Identifier: Apache-2.0
"""What was tried, by whom, what refused it, and the counter that shows it."""
import contextlib

from culvert_harness import wait_for


class Ledger:
    def __init__(self):
        self.rows = []

    def note(self, attacker, attack, refused_by, counter):
        self.rows.append((attacker, attack, refused_by, counter))

    def table(self):
        head = ("attacker", "attack", "refused by", "counter")
        rows = [head, *self.rows]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return "\n".join(
            "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[3]])
            for row in rows
        )

    @contextlib.contextmanager
    def dropped(self, attacker, attack, node, reasons, least=1):
        """What happens inside must be dropped on `node` for one of the reasons, `least` times."""
        reasons = (reasons,) if isinstance(reasons, str) else reasons
        before = node.drops()
        yield
        rise = {}

        def enough():
            after = node.drops()
            rise.update({name: after[name] - before[name] for name in after})
            return sum(rise[name] for name in reasons) >= least

        try:
            wait_for(enough, 10, 0.02, f"{least} drops of {reasons}")
        except TimeoutError as late:
            moved = {name: count for name, count in rise.items() if count}
            raise AssertionError(f"{attack}: {late}; what moved: {moved}") from late
        hit = [name for name in reasons if rise[name]]
        counters = ", ".join(f"{name} +{rise[name]}" for name in hit)
        self.note(attacker, attack, hit[0], f"{node.name} drops {counters}")
