"""`tester release`: cuts the tree that students are given out of this repository.

    release.toml --manifest.py--> given | made | left out
                                    |       |
    skeleton.py, student/ ----------+-------+--> tree.py --> files --checks.py--> OUT, by command.py

release.toml decides; what it does not mention stops the release.
"""
