"""The seventh revision: what an operator does to the figures is in the audit."""

UP = (
    """
GRANT INSERT ON audit TO lekhika_analytics;
CREATE POLICY operator_acts ON audit FOR INSERT TO lekhika_analytics WITH CHECK (actor = 'operator');
""",
)
"""The programs beside analytics are started by people who have its password, which is all that is known of them."""

DOWN = (
    """
DROP POLICY operator_acts ON audit;
REVOKE INSERT ON audit FROM lekhika_analytics;
""",
)
