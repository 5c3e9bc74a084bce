"""What a merged model scores and what a merge costs: evaluation, Lightning's Trainer, results and their store.

What is evaluated is handed in: no zoo, suite or method is known here.
"""
