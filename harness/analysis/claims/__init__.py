"""Claims: every statement of the suite, answered with a verdict and one sentence of numbers."""

from harness.analysis.claims.evidence import ClaimVerdict
from harness.analysis.claims.judge import ClaimPart, ClaimResult, judge_claims

__all__ = ["ClaimPart", "ClaimResult", "ClaimVerdict", "judge_claims"]
