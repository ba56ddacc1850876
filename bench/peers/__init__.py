"""One module for each program that is started and measured."""
