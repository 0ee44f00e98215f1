"""Campaigns against the software itself: what it must survive, generated, tried and counted (`make torture`)."""
