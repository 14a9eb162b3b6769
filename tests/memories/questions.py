"""Natural questions with a known topic among Python's own (`pydoc_data.topics`).

Written before the search was measured, and not to be tuned: a question that fails stays.
"""

#: question, topic that answers it
QUESTIONS = [
    ("how do I catch an exception", "try"),
    ("what does yield do", "yield"),
    ("how do I stop a loop early", "break"),
    ("how do I skip to the next iteration of a loop", "continue"),
    ("how can I make an anonymous function", "lambda"),
    ("how do I raise an error myself", "raise"),
    ("how do I import a module under another name", "import"),
    ("how do I make sure a file is closed with a with statement", "with"),
    ("how do I change a variable of the enclosing function", "nonlocal"),
    ("which operator binds tighter", "operator-summary"),
    ("how do I check whether a value is in a list", "in"),
    ("which statement does nothing at all", "pass"),
    ("how do I define a class", "class"),
    ("how do I format a number with two decimals", "formatstrings"),
    ("how do I delete a variable name", "del"),
    ("which values count as false", "truth"),
    ("how do I set a breakpoint and step through my code", "debugger"),
    ("how do I turn a string into upper case", "string-methods"),
    ("how do I write a complex number", "imaginary"),
    ("how do I shift bits to the left", "shifting"),
    ("how do I wait for a coroutine", "await"),
    ("how do I check a condition while debugging and fail if it does not hold", "assert"),
    ("how do I take a part of a sequence with start and stop", "slicings"),
    ("how do I write a function that accepts any number of arguments", "function"),
    ("how do I loop over the items of a list", "for"),
    ("how do I raise a number to a power", "power"),
    ("how do I assign to a global variable inside a function", "global"),
    ("how can my class support the plus operator", "numeric-types"),
]
