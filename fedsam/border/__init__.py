"""The border: values, names and sizes that come from outside are admitted or refused here, in one line."""
