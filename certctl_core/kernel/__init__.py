"""The kernel floor: runs everything and knows no certificate."""
