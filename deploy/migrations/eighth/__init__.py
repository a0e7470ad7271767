"""The eighth revision: calls that nothing is known of have no row in the rollups, and are found in the ledger."""

UP = (
    """
CREATE INDEX usage_ledger_unmeasured ON usage_ledger (user_id, bucket)
    WHERE line > 0 AND total_tokens = 0 AND certainty <> 'measured';
""",
)
DOWN = ("DROP INDEX usage_ledger_unmeasured;",)
