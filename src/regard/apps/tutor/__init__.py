"""The tutor: worked solutions whose steps are checked, hints that keep the answer, a dialogue about a figure."""
