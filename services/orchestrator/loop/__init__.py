"""The durable loop: uncover, quantify, analyse, realign, judge, report."""
