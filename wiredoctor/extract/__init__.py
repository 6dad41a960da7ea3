"""Extract the smallest capture that still shows a finding, and make anonymized copies of captures."""
