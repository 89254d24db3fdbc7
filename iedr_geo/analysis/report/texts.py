"""The groups of measures, and how to read them."""

GROUPS = {
    'invariance': (
        'Context invariance',
        'Cosine similarity of the factor of the same user (item) in two contexts, and of '
        'two users (items) in the same context; auc is how often the former is higher. '
        'Disentangled: auc near 1 for the intrinsic and below 0.5 for the extrinsic '
        'factor, not always near 0, as a context may move each user differently.',
    ),
    'variance': (
        'What the factors vary with',
        'Shares of the variance of a factor that are due to the user (item) whatever the '
        'context, to the context whoever is in it, and to the two together. '
        'Disentangled: the intrinsic factor varies with the user (item) alone, the '
        'extrinsic one with the context, or with both together.',
    ),
    'probe': (
        'Linear probes',
        'Accuracy (R^2 for numbers), on rows held out, of a linear model that reads from '
        'a factor who is in which context. Disentangled: the intrinsic factor tells who, '
        'and no context beyond the limit; the extrinsic factor tells the context, and '
        'who only as far as contexts move each user differently. No linear model sees '
        'what a context does differently to each: compare the shares of the variance.',
    ),
    'dependence': (
        'Dependence of the factors',
        'Bias-corrected distance correlation, and mutual information (R^2: 1 - exp(-2 '
        'nats)), which sees the leading directions alone and falls short where it is '
        'high. Each user (item) counts once; where there are contexts, in one that is '
        'drawn at random. Of more than two factors: the most that each depends on '
        'another, and the least that one depends on itself. Disentangled: next to '
        'nothing beside what each factor tells of itself. Concepts of items do depend: '
        'an item of one is of no other, which is all there is to say of two.',
    ),
    'concepts': (
        'Concepts',
        'How clearly items belong to concepts: the mean of the largest probability; the '
        'exponential of the mutual information of items and concepts, as a share of the '
        'number of concepts (1: each item has one, and all have as many); the share of '
        'the largest, near 1 where all items are of the same. Chance: vectors as long in '
        'random directions. Agreement with categories. How often the vectors of the two '
        'concepts of which a user has most are nearest to their own prototypes. The mean '
        'absolute correlation of the dimensions of a concept over users (1 - '
        'independence); independent ones have that of chance. Disentangled: items are '
        'told apart beyond chance, agree with categories where these are known, and a '
        "user's vectors are near the prototypes of their own concepts.",
    ),
    'ranking': (
        'Ranking by one part of the score',
        'Disentangled: each factor alone ranks above chance, and the model better than '
        'either (gain): where it does not, both factors are the same again. What cross '
        '(intrinsic by extrinsic) ranks well has no one cause.',
    ),
    'popularity': (
        'Popularity',
        'Overlap (intersection over union) of the top of the rankings with the most '
        'popular items, and R^2 of a linear model that reads log popularity from the '
        'vectors of items. Disentangled: far higher for conformity than for interest.',
    ),
    'truth': (
        'Recovery of the truth',
        'Correlation of each part of the score with each true score within lists, of '
        'values and of ranks, and the share of the variance of a true score that the '
        'part of its name recovers (all: that all parts together do). The limit is '
        'of the true scores of other items. Disentangled: a part follows the truth of '
        'its name and no other. Where all recover far more than the part does, it was '
        'learned but not told apart.',
    ),
}
