"""The leaderboard as a folder of pages that open from disk and load nothing from anywhere else.

What is known of methods and tasks beyond their results is handed in; the library that sorts tables lies in `static`.
"""
