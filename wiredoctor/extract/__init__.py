"""The smallest capture that still shows a finding, and copies that show nothing of their users."""
