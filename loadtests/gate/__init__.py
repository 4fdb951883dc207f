"""The load gate: arrivals, histograms, validity, statistics, decision, report."""
