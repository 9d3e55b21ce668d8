"""One pass in several processes, on torch's own engine: every batch divided by rows, the table by its rows.

`launch` starts the processes, each of them is a `worker`, which makes `passes`; `table` divides the table's rows, and
`group` is what the processes tell one another.
"""
