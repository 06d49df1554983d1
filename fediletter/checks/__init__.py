"""The doctor behind `fediletter check`: each module looks at one side, and says what it finds."""
