"""A server that speaks the wire format of the Gemini API, for use without a key and in tests."""
